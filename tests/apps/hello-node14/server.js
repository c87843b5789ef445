// Answers every request with the contents of VERSION, on a Node.js from long ago; /node says which.
'use strict';
const fs = require('fs');
const http = require('http');
const ms = require('ms');

const version = fs.readFileSync('VERSION');
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(request.url === '/node' ? `${process.version}, ${ms('2 days')}` : version);
});
server.listen(Number(process.env.PORT || 5000));
process.on('SIGTERM', () => server.close());
