"""What can be followed: every rule of every runtime as data, and the readers that give it its meanings.

A rule is one line of data: a name that users know, and fields. Nothing is decided by the name. What is to be done with
a rule is a reader, one file each: a `match` over the fields' types and values, without a default. A reader that does
not have a value raises `Unsupported`.
"""
