"""How bytes come over HTTP: the one way out, whose rules every request of ours obeys, and the one mover of large files.

It may import `source` of its neighbours, and store, digest, quantities and errors. It knows neither the hub nor any
registry: who asks brings the address and the credentials.

    outbound   every request           transfer   every download, resumed and verified
    origin     whose credentials       location   where a transfer reads
    peers      which addresses         answer     what an answer means for it, pure
    rate       how fast                parts      how a file is cut, pure
    broken     which failures pass     sharing    one download for all who want it
"""
