// Signs one upload for S3 again and again with the AWS SDK for JavaScript: sign_s3.mjs SECONDS. Prints
// the median of the batches in microseconds for each, and a URL. Credentials as the SDK finds them.

import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

const BATCH = 10
const seconds = Number(process.argv[2])
const client = new S3Client({
  region: 'us-east-1',
  credentials: {
    accessKeyId: process.env.AWS_ACCESS_KEY_ID,
    secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  },
  requestChecksumCalculation: 'WHEN_REQUIRED',
})
const upload = {
  Bucket: 'my-app-media',
  Key: 'images/01kamb5x4yt0a9qwe8m3zr6v7d-profile-photo.jpg',
  ContentType: 'image/jpeg',
}
const options = { expiresIn: 900, signableHeaders: new Set(['content-type']) }

async function batches(length) {
  const took = []
  for (const end = performance.now() + length * 1e3; performance.now() < end; ) {
    const begun = performance.now()
    for (let turn = 0; turn < BATCH; turn++) {
      await getSignedUrl(client, new PutObjectCommand(upload), options)
    }
    took.push(((performance.now() - begun) * 1e3) / BATCH)
  }
  return took.sort((a, b) => a - b)
}

// Until it is compiled.
await batches(seconds)
const took = await batches(seconds)
const url = await getSignedUrl(client, new PutObjectCommand(upload), options)
console.log(JSON.stringify({ us: took[took.length >> 1], url }))
