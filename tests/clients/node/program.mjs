// How a program is asked: a line of JSON in, a line of JSON out, until nobody asks any more.

import { createInterface } from 'node:readline'

// Each function is asked by its name; of what it throws, `error` tells what the package makes of it.
export async function serve(functions, error) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { function: name, ...ask } = JSON.parse(line)
    let said
    try {
      said = await functions[name](ask)
    } catch (thrown) {
      said = { error: { type: thrown.constructor.name, text: String(thrown), ...error(thrown) } }
    }
    process.stdout.write(JSON.stringify(said) + '\n')
  }
}

// The weather of a city: the tool that models are given.
export const weather = ({ city }) => ({ Bern: 'rain', Basel: 'sun' })[city]
