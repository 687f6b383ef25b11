// The least server that signs uploads with the AWS SDK for JavaScript: presigner.mjs PORT ENDPOINT. The
// credentials come in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

import { createServer } from 'node:http'

import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

const [port, endpoint] = process.argv.slice(2)
const client = new S3Client({
  region: 'us-east-1',
  endpoint,
  forcePathStyle: true,
  credentials: {
    accessKeyId: process.env.AWS_ACCESS_KEY_ID,
    secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  },
  requestChecksumCalculation: 'WHEN_REQUIRED',
})

async function answer(body) {
  const { file, contentType } = JSON.parse(body)
  const Key = `images/${crypto.randomUUID()}-${file.replaceAll(/[^a-zA-Z0-9.]+/g, '-')}`
  const put = new PutObjectCommand({ Bucket: 'media-shop', Key, ContentType: contentType })
  const uploadURL = await getSignedUrl(client, put, {
    expiresIn: 900,
    signableHeaders: new Set(['content-type']),
  })
  return JSON.stringify({ data: { key: Key, uploadURL, headers: { 'Content-Type': contentType } } })
}

createServer((request, response) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', async () => {
    try {
      const text = await answer(Buffer.concat(parts))
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(text)
    } catch {
      response.writeHead(400).end()
    }
  })
}).listen(Number(port), '127.0.0.1')
