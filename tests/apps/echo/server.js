// Every kind of traffic that a swap must not break: kept-alive requests, slow ones, uploads, server-sent
// events and WebSockets. SIGTERM: no new connections, those in flight end by themselves.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const websocket = require('./websocket');

const version = fs.readFileSync('VERSION', 'utf8');
const port = Number(process.env.PORT ?? 5000);
let stopping = false;

function text(response, body) {
  // Without this, a kept-alive connection would hold the old instance for ever.
  if (stopping) response.setHeader('Connection', 'close');
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(body);
}

// GET /slow?ms=5000 answers after that time.
function slow(url, response) {
  const ms = Math.min(Number(url.searchParams.get('ms') ?? 1000), 60000);
  setTimeout(() => text(response, version), ms);
}

// GET /sse?ms=100 sends the numbers 1, 2, 3 … with the instance's name until the client leaves.
function events(url, request, response) {
  const ms = Math.max(Number(url.searchParams.get('ms') ?? 100), 1);
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  let number = 0;
  const send = () => {
    number += 1;
    response.write(`id: ${number}\ndata: ${number} ${os.hostname()}\n\n`);
  };
  send();
  const timer = setInterval(send, ms);
  request.on('close', () => clearInterval(timer));
}

// POST /upload answers `<sha256> <bytes>` of the body.
function upload(request, response) {
  const hash = crypto.createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  request.on('end', () => text(response, `${hash.digest('hex')} ${bytes}\n`));
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://echo');
  const route = `${request.method} ${url.pathname}`;
  if (route === 'GET /' || route === 'HEAD /') return text(response, version);
  if (route === 'GET /pid') return text(response, `${os.hostname()}\n`);
  if (route === 'GET /slow') return slow(url, response);
  if (route === 'GET /sse') return events(url, request, response);
  if (route === 'POST /upload') return upload(request, response);
  response.statusCode = 404;
  return text(response, `no ${route} here\n`);
});
server.keepAliveTimeout = 75000;
server.requestTimeout = 0;
server.on('upgrade', (request, socket, head) => {
  if (new URL(request.url, 'http://echo').pathname === '/ws') return websocket.accept(request, socket, head);
  return socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
});
server.listen(port, () => console.log(`listening on ${port}`));

process.on('SIGTERM', () => {
  console.log('SIGTERM: finishing');
  stopping = true;
  server.close(() => console.log('stopped'));
  server.closeIdleConnections();
});
