// OpenAI's own package, by Responses.

import OpenAI from 'openai'
import { serve, weather } from './program.mjs'

const TOOL = {
  type: 'function',
  name: 'weather',
  description: 'The weather of a city.',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
  strict: true,
}

const responses = (ask) => new OpenAI({ baseURL: `${ask.url}/v1`, apiKey: ask.api_key, maxRetries: 0 }).responses

const asked = (ask) => ({ model: ask.model, input: ask.question, max_output_tokens: ask.most_tokens })

async function whole(ask) {
  const answer = await responses(ask).create(asked(ask))
  return { text: answer.output_text, tokens: tokens(answer.usage) }
}

async function streamed(ask) {
  const stream = responses(ask).stream(asked(ask))
  const pieces = []
  stream.on('response.output_text.delta', (event) => pieces.push(event.delta))
  const answer = await stream.finalResponse()
  return { pieces, tokens: tokens(answer.usage) }
}

const with_tools = (ask) =>
  roundTrip(ask, (input) => responses(ask).create({ ...asked(ask), input, tools: [TOOL] }))

const with_tools_streamed = (ask) =>
  roundTrip(ask, (input) => responses(ask).stream({ ...asked(ask), input, tools: [TOOL] }).finalResponse())

async function roundTrip(ask, answer) {
  const question = { role: 'user', content: ask.question }
  const first = await answer([question])
  const called = first.output.filter((item) => item.type === 'function_call')
  const results = called.map((call) => ({
    type: 'function_call_output',
    call_id: call.call_id,
    output: weather(JSON.parse(call.arguments)),
  }))
  const final = await answer([question, ...first.output, ...results])
  return { calls: called.map((call) => JSON.parse(call.arguments)), text: final.output_text }
}

const tokens = (usage) => [usage.input_tokens, usage.output_tokens]

const error = (thrown) => ({
  status: thrown.status,
  code: thrown.code,
  retry_after: thrown.headers?.get('retry-after'),
})

await serve({ whole, streamed, with_tools, with_tools_streamed }, error)
