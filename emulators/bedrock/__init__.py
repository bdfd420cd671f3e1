"""The local Bedrock: runtime and control plane on one port, answered by the demo model in the providers' own shapes.

    catalogue                         which models and inference profiles there are, and what an identifier names
    conversation                      what a model is asked and what it says, whatever the shape
    demo_model, echo                  who answers; sse, prompt_end: how the first is read, and what it is asked
    answer, instance, guardrail       one answer: laid down by control, cut at stop sequences, judged
    shape: anthropic, nova, llama     a model's own body, read and written; converse: Converse's
    service_model, blocks, rules      what a Converse request must be: by botocore's service model, and beyond it
    images                            what an image is, and what it costs
    callers                           API keys and signatures
    control                           faults, keys, answers and guardrails on command
    runtime, management               the operations
    exchange, asgi                    the same for every operation
    refusal                           what callers are refused with, as AWS writes it

`python -m emulators.bedrock` serves it; docs/local-bedrock.md says how it is commanded.
"""
