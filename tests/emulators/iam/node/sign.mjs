// Signs requests as AWS's SDK for JavaScript does.
//
//   node sign.mjs < [{method, url, headers, body, region, accessKeyId, secretAccessKey, sessionToken?}] > [headers]
//
// MODULES names the folder whose node_modules hold @smithy/signature-v4.

import { createRequire } from 'node:module'
import { json } from 'node:stream/consumers'

const require = createRequire(`${process.env.MODULES}/`)
const { Sha256 } = require('@aws-crypto/sha256-js')
const { HttpRequest } = require('@smithy/protocol-http')
const { SignatureV4 } = require('@smithy/signature-v4')

const sign = async ({ method, url, headers, body, region, ...credentials }) => {
  const { protocol, host, hostname, port, pathname, searchParams } = new URL(url)
  const query = Object.fromEntries([...searchParams.keys()].map((name) => [name, searchParams.getAll(name)]))
  const signer = new SignatureV4({ service: 'execute-api', region, credentials, sha256: Sha256 })
  const request = { method, protocol, hostname, port, path: pathname, query, headers: { host, ...headers }, body }
  return (await signer.sign(new HttpRequest(request))).headers
}

process.stdout.write(JSON.stringify(await Promise.all((await json(process.stdin)).map(sign))))
