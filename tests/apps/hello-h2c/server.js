// Speaks HTTP/2 in the clear and nothing else, as gRPC servers do: answers with the contents of VERSION, and tells in
// trailers that all went well. SIGTERM lets streams in flight finish.
'use strict';
const fs = require('node:fs');
const http2 = require('node:http2');

const version = fs.readFileSync('VERSION');
const port = Number(process.env.PORT ?? 5000);
const sessions = new Set();
const server = http2.createServer();
server.on('session', (session) => {
  sessions.add(session);
  session.on('close', () => sessions.delete(session));
});
server.on('stream', (stream, headers) => {
  const trailer = { 'grpc-status': '0' };
  stream.respond({ ':status': 200, 'content-type': 'text/plain; charset=utf-8', 'x-asked': headers[':authority'], trailer: 'grpc-status' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailer));
  stream.on('error', () => {});
  stream.end(version);
});
server.listen(port, () => console.log(`listening on ${port}`));
process.on('SIGTERM', () => {
  server.close(() => console.log('stopped'));
  for (const session of sessions) session.close();
});
