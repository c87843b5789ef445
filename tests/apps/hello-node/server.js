// Answers every request with the contents of VERSION; SIGTERM lets requests in flight finish.
'use strict';
const fs = require('node:fs');
const http = require('node:http');

const version = fs.readFileSync('VERSION');
const port = Number(process.env.PORT ?? 5000);
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(version);
});
server.listen(port, () => console.log(`listening on ${port}`));
process.on('SIGTERM', () => {
  server.close(() => console.log('stopped'));
  server.closeIdleConnections();
});
