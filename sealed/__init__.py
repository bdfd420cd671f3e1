"""The sealed formats and the attestation verifier, once for all programs: client, enclave, container, local KMS.

    attestation, chain          is this an enclave, on the word of a root that we trust
    measurements                is it one of those that we trust
    hpke, hpke_keys, xwing      mode hpke: how requests and answers are sealed, the fleet's keys, the hybrid
    esdk, kms_mode              the other modes
    ticket                      what the gateway permits the enclave to open
    frames, padding             how pieces travel
    cms, cbor, arn              formats of AWS that need care
    refusal                     everything that is not as it should be

Small, because the enclave's measurements cover it, and it imports no other program; its own modules it names
relatively, because the client's wheel holds them as `cloister._sealed`. The specification is docs/sealed-formats.md.
"""
