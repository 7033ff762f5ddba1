"""control answers the operator on the Unix socket.

It owns nothing: every route reads the Reconciler and the Fleet, or asks them for something. Who may connect is decided
by the socket's directory and mode. It may import reconcile and everything below; not api.
"""
