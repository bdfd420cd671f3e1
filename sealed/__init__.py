"""The sealed formats and the attestation verifier, once for all programs: client, enclave, container, local KMS.

    attestation, measurements   is this an enclave that we trust
    hpke, esdk, kms_mode        how requests and answers are sealed, mode by mode
    ticket                      what the gateway permits the enclave to open
    frames, padding             how pieces travel
    cms, cbor, arn              formats of AWS that need care

Small, because the enclave's measurements cover it, and it imports no other program. The specification is
docs/sealed-formats.md.
"""
