// The AI SDK, by its provider for services that are like OpenAI (chats) and by its own for OpenAI (Responses).

import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'
import { serve, weather } from './program.mjs'

const openai = (ask) => createOpenAI({ baseURL: `${ask.url}/v1`, apiKey: ask.api_key })(ask.model)

const PROVIDERS = {
  chat: (ask) =>
    createOpenAICompatible({
      name: 'cloister',
      baseURL: `${ask.url}/v1`,
      apiKey: ask.api_key,
      includeUsage: true,
    })(ask.model),
  responses: openai,
  kept_responses: openai,
  unsaid_responses: openai,
}

// The whole conversation is sent each time; or it is kept, and what was answered only referred to.
const OPTIONS = { responses: { openai: { store: false } }, kept_responses: { openai: { store: true } } }

const asked = (ask) => ({
  model: PROVIDERS[ask.door](ask),
  prompt: ask.question,
  maxOutputTokens: ask.most_tokens,
  maxRetries: 0,
  providerOptions: OPTIONS[ask.door],
})

const TOOLS = {
  tools: {
    weather: tool({
      description: 'The weather of a city.',
      inputSchema: z.object({ city: z.string() }),
      execute: weather,
    }),
  },
  stopWhen: stepCountIs(2),
}

async function whole(ask) {
  const { text, usage } = await generateText(asked(ask))
  return { text, tokens: tokens(usage) }
}

async function streamed(ask) {
  const { result, pieces } = await read(streamText({ ...asked(ask), onError: () => {} }))
  return { pieces, tokens: tokens(await result.usage) }
}

async function with_tools(ask) {
  const { steps, text } = await generateText({ ...asked(ask), ...TOOLS })
  return { calls: steps[0].toolCalls.map((call) => call.input), text }
}

async function with_tools_streamed(ask) {
  const { result } = await read(streamText({ ...asked(ask), ...TOOLS, onError: () => {} }))
  const steps = await result.steps
  return { calls: steps[0].toolCalls.map((call) => call.input), text: await result.text }
}

async function read(result) {
  const pieces = []
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw part.error
    if (part.type === 'text-delta') pieces.push(part.text)
  }
  return { result, pieces }
}

const tokens = (usage) => [usage.inputTokens, usage.outputTokens]

const error = (thrown) => ({
  type: thrown.name,
  status: thrown.statusCode,
  code: thrown.data?.error?.code,
  retry_after: thrown.responseHeaders?.['retry-after'],
})

await serve({ whole, streamed, with_tools, with_tools_streamed }, error)
