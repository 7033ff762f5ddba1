"""planning foretells what taking over a file would do, and tells file, accepted and actual apart. It changes nothing.

It may import the rest of reconcile except `reconciler`, and everything below.

    plan         the steps, foretold, pure              planning     what a plan is made of, gathered
    departures   the blobs nothing will need            standstill   the same without a daemon
    diff         file, accepted and actual, pure        explain      each value and who set it, pure
"""
