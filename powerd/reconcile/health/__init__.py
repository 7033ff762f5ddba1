"""health says how the declared models, the node and its devices are, and wakes those who wait to hear it.

It reads entries, the fleet and the store, and changes none of them; it may import reconcile's `entry`, `conditions` and
`step`, and everything below.

    judging      the conditions, made afresh            bulletin     events, node conditions and a bell
    canary       one token asked of every runner        devicecare   accelerators that went or came
    readiness    whether requests should come           waiting      for those who ask when something is so
    drift        what the disk lost, in words, pure
"""
