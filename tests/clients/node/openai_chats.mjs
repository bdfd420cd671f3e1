// OpenAI's own package, by chat completions, and its runner of tools.

import OpenAI from 'openai'
import { serve, weather } from './program.mjs'

const TOOL = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather of a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    parse: JSON.parse,
    function: weather,
  },
}

const completions = (ask) =>
  new OpenAI({ baseURL: `${ask.url}/v1`, apiKey: ask.api_key, maxRetries: 0 }).chat.completions

const asked = (ask) => ({
  model: ask.model,
  max_completion_tokens: ask.most_tokens,
  messages: [{ role: 'user', content: ask.question }],
})

async function whole(ask) {
  const answer = await completions(ask).create(asked(ask))
  return { text: answer.choices[0].message.content, tokens: tokens(answer.usage) }
}

async function streamed(ask) {
  const stream = completions(ask).stream({ ...asked(ask), stream_options: { include_usage: true } })
  const pieces = []
  stream.on('content', (piece) => pieces.push(piece))
  const answer = await stream.finalChatCompletion()
  return { pieces, tokens: tokens(answer.usage) }
}

const with_tools = (ask) => roundTrip(completions(ask).runTools({ ...asked(ask), tools: [TOOL] }))

const with_tools_streamed = (ask) =>
  roundTrip(completions(ask).runTools({ ...asked(ask), tools: [TOOL], stream: true }))

async function roundTrip(runner) {
  const text = await runner.finalContent()
  const called = runner.messages.flatMap((message) => message.tool_calls ?? [])
  return { calls: called.map((call) => JSON.parse(call.function.arguments)), text }
}

const tokens = (usage) => [usage.prompt_tokens, usage.completion_tokens]

const error = (thrown) => ({
  status: thrown.status,
  code: thrown.code,
  retry_after: thrown.headers?.get('retry-after'),
})

await serve({ whole, streamed, with_tools, with_tools_streamed }, error)
