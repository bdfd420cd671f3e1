"""A tenant's data as a whole: erased on request, with a report of what is gone, what stays and why. Beside the path.

    kinds      every kind of item that the tables hold, and what becomes of it: the one list that all here follow
    items      the tables as they are, item by item       records     the list of erasures, each with its report
    asking     how one begins, and who may read of it
    eraser     the work of an erasure, a page at a time                report      what is told of it

A new kind of item stands in `tables`; a test fails until `kinds` says what becomes of it.
"""
