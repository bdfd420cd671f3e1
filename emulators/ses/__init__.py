"""SES, as far as mails are sent by its API of version 2: it takes them, and delivers them to a folder.

asgi     the API: SendEmail, and the faults of who is told to be full        mail     what it takes: a value

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
"""
