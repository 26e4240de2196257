"""Mail on its way: every letter is handed over once, or its row says why not.

queue makes the rows, claim takes some of them for one worker, write makes the mails, settle arms
each before its final dot and records what the relay said. No function here uses the network.
"""
