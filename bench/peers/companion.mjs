// Uppy Companion as its documentation starts it, for uploads to S3 alone: companion.mjs PORT ENDPOINT
// FOLDER. The credentials come in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

import { createServer } from 'node:http'

import * as companion from '@uppy/companion'
import express from 'express'
import session from 'express-session'

const [port, endpoint, folder] = process.argv.slice(2)

const app = express()
app.use(session({ secret: 'a secret of the benchmark', resave: false, saveUninitialized: false }))
const uploads = companion.app({
  s3: {
    key: process.env.AWS_ACCESS_KEY_ID,
    secret: process.env.AWS_SECRET_ACCESS_KEY,
    bucket: 'media-shop',
    region: 'us-east-1',
    endpoint,
    forcePathStyle: true,
    getKey: ({ filename }) => `images/${crypto.randomUUID()}-${filename}`,
    expires: 900,
  },
  server: { host: `127.0.0.1:${port}`, protocol: 'http' },
  filePath: folder,
  secret: 'another secret of the benchmark',
  uploadUrls: [endpoint],
  corsOrigins: true,
})
app.use(uploads.app)
createServer(app).listen(Number(port), '127.0.0.1')
