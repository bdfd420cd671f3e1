"""IAM where there is no AWS: moto keeps users, roles and sessions, and here is decided who they are and what they may.

policy, conditions   what a policy says of a call: pure, values in, judgement out
principals           whose an access key is, as moto knows it, and which policies stand on them
signature            Signature Version 4, read and computed: pure
authoriser           in the gateway's process: API Gateway's AWS_IAM authoriser, which knows no secret, and asks
judge                in the local cloud: whether a signature is right, and its principal may invoke the route
refusal              why a request does not come in
"""
