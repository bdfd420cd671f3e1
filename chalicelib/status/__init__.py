"""What everybody may know of how the service stands, and stood: measured each minute, never guessed.

    component      what is watched, as operators say it     minutes     a day of samples, and their shares: pure
    samples        days as they are kept                    store       in DynamoDB     memory    its twin
    asking         what is asked beside the targets        probing        from what was asked to a minute's samples
    rounds         a round of the schedule
    incidents      what operators say of a fault            maintenance what they announce
    publishing     the page as files in a bucket            aws         how that is asked
    subscribers    who hears by mail                       mailing     telling them, by SES
    board          all of it as one value, for the page     page        the same for people

A minute of which there is no sample is unknown, never up. What is watched is asked by a schedule: whoever looks at the
page asks nothing and wakes nothing.
"""
