// Anthropic's own package: Messages, and its runner of tools.

import Anthropic from '@anthropic-ai/sdk'
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod'
import { z } from 'zod'
import { serve, weather } from './program.mjs'

const TOOL = betaZodTool({
  name: 'weather',
  description: 'The weather of a city.',
  inputSchema: z.object({ city: z.string() }),
  run: weather,
})

const client = (ask) => new Anthropic({ baseURL: ask.url, apiKey: ask.api_key, maxRetries: 0 })

const asked = (ask) => ({
  model: ask.model,
  max_tokens: ask.most_tokens,
  messages: [{ role: 'user', content: ask.question }],
})

async function whole(ask) {
  const answer = await client(ask).messages.create(asked(ask))
  return { text: answer.content[0].text, tokens: tokens(answer) }
}

async function streamed(ask) {
  const stream = client(ask).messages.stream(asked(ask))
  const pieces = []
  stream.on('text', (piece) => pieces.push(piece))
  return { pieces, tokens: tokens(await stream.finalMessage()) }
}

async function with_tools(ask) {
  const messages = []
  for await (const message of client(ask).beta.messages.toolRunner({ ...asked(ask), tools: [TOOL] })) {
    messages.push(message)
  }
  return told(messages)
}

async function with_tools_streamed(ask) {
  const messages = []
  const runner = client(ask).beta.messages.toolRunner({ ...asked(ask), tools: [TOOL], stream: true })
  for await (const stream of runner) messages.push(await stream.finalMessage())
  return told(messages)
}

function told([first, final]) {
  const called = first.content.filter((block) => block.type === 'tool_use')
  return { calls: called.map((block) => block.input), text: final.content[0].text }
}

const tokens = ({ usage }) => [usage.input_tokens, usage.output_tokens]

const error = (thrown) => ({
  status: thrown.status,
  code: thrown.type,
  retry_after: thrown.headers?.get('retry-after'),
})

await serve({ whole, streamed, with_tools, with_tools_streamed }, error)
