// Seals and opens with AWS's own Encryption SDK for JavaScript.
//
//   node esdk.mjs seal|open ENDPOINT KEY_ARN CONTEXT_JSON [FRAME_LENGTH SUITE]   < in > out
//
// MODULES names the folder whose node_modules hold @aws-crypto/client-node.

import { createRequire } from 'node:module'
import { buffer } from 'node:stream/consumers'

const require = createRequire(`${process.env.MODULES}/`)
const { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, KMS, KmsKeyringNode } =
  require('@aws-crypto/client-node')

const [, , task, endpoint, keyArn, context, frameLength, suite] = process.argv
const { encrypt, decrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const credentials = { accessKeyId: 'test', secretAccessKey: 'test' }
const clientProvider = (region) => new KMS({ region, endpoint, credentials })

const input = await buffer(process.stdin)
const expected = JSON.parse(context)

if (task === 'seal') {
  const keyring = new KmsKeyringNode({ generatorKeyId: keyArn, clientProvider })
  const { result } = await encrypt(keyring, input, {
    encryptionContext: expected,
    frameLength: Number(frameLength),
    suiteId: AlgorithmSuiteIdentifier[suite],
  })
  process.stdout.write(result)
} else {
  const keyring = new KmsKeyringNode({ keyIds: [keyArn], clientProvider })
  const { plaintext, messageHeader } = await decrypt(keyring, input)
  for (const [name, value] of Object.entries(expected)) {
    if (messageHeader.encryptionContext[name] !== value) throw new Error(`the context lacks ${name}`)
  }
  process.stdout.write(plaintext)
}
