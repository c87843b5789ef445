// Every kind of traffic that a swap must not break, and a ledger on a volume of everything that reached this instance.
//
// BEHAVIOUR says how it misbehaves, if it does: `plain` · `idle-1`, `idle-5` close idle connections after so many seconds
// without telling · `close` closes behind each answer · `deaf` ignores SIGTERM · `slow` boots in five seconds · `crash` ends
// at boot · `crash-after-200` ends behind its first answer · `loopback` listens on 127.0.0.1 alone.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const websocket = require('./websocket');

const release = Number((process.env.PAAS_RELEASE ?? 'v0').slice(1));
const behaviour = fs.readFileSync('BEHAVIOUR', 'utf8').trim();
const port = Number(process.env.PORT ?? 5000);
const ledger = fs.openSync('/ledger/lines', 'a');
let stopping = false;
let leaving = false;
let unwritten = 0;

function leaveOnceWritten() {
  if (leaving && unwritten === 0) process.exit(0);
}

// One line, in one write: others write to the same file. Nobody waits for the disk but who needs to know it written.
function note(what, id, written = () => {}) {
  unwritten += 1;
  fs.write(ledger, `${Date.now()} ${release} ${os.hostname()} ${what} ${id}\n`, (error) => {
    if (error) throw error;
    unwritten -= 1;
    written();
    leaveOnceWritten();
  });
}

function begin(response, status, fields) {
  // Said by hand, so that Node does not tell when it closes idle connections.
  const closes = stopping || behaviour === 'close';
  response.writeHead(status, { Connection: closes ? 'close' : 'keep-alive', 'X-Release': release, ...fields });
}

function text(response, body, status = 200) {
  begin(response, status, { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
  if (behaviour === 'crash-after-200') response.on('finish', () => process.exit(9));
}

// Reads the whole body; answers nothing when it does not come to its end.
function read(request, whole) {
  const hash = crypto.createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  request.on('end', () => whole(`${hash.digest('hex')} ${bytes}`));
}

// GET /download?bytes=N&ms=M sends the pattern 0, 31, 62 … mod 251 in a hundred pieces over that time.
function download(url, request, response) {
  const bytes = Number(url.searchParams.get('bytes'));
  const ms = Number(url.searchParams.get('ms'));
  const body = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 1) body[at] = (at * 31) % 251;
  begin(response, 200, { 'Content-Length': bytes });
  const piece = Math.ceil(bytes / 100);
  let sent = 0;
  const timer = setInterval(() => {
    response.write(body.subarray(sent, sent + piece));
    sent += piece;
    if (sent < bytes) return;
    clearInterval(timer);
    response.end();
  }, ms / 100);
  request.on('close', () => response.writableEnded || clearInterval(timer));
}

// GET /events sends 1, 2, 3 … with the instance's name, twenty a second, until the client leaves.
function events(request, response) {
  begin(response, 200, { 'Content-Type': 'text/event-stream' });
  let number = 0;
  const timer = setInterval(() => {
    number += 1;
    response.write(`id: ${number}\ndata: ${number} ${os.hostname()}\n\n`);
  }, 50);
  request.on('close', () => clearInterval(timer));
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://ledger');
  const id = url.searchParams.get('id') ?? '-';
  note('request', id);
  const route = `${request.method} ${url.pathname}`;
  if (route === 'GET /') return text(response, `${id}\n`);
  if (route === 'GET /slow') return setTimeout(() => text(response, `${id}\n`), Number(url.searchParams.get('ms')));
  if (route === 'GET /download') return download(url, request, response);
  if (route === 'GET /events') return events(request, response);
  if (route === 'POST /upload') return read(request, (sum) => text(response, `${sum}\n`));
  if (route === 'POST /entry') {
    return read(request, (sum) => note('entry', id, () => text(response, `${sum}\n`)));
  }
  return text(response, `no ${route} here\n`, 404);
});
server.keepAliveTimeout = { 'idle-1': 1000, 'idle-5': 5000 }[behaviour] ?? 75000;
server.requestTimeout = 0;
server.on('upgrade', (request, socket, head) => {
  note('request', new URL(request.url, 'http://ledger').searchParams.get('id') ?? '-');
  websocket.accept(request, socket, head);
});

process.on('SIGTERM', () => {
  note('term', '-');
  if (behaviour === 'deaf') return;
  stopping = true;
  server.close(() => {
    leaving = true;
    leaveOnceWritten();
  });
  server.closeIdleConnections();
});

function listen() {
  server.listen(port, behaviour === 'loopback' ? '127.0.0.1' : '0.0.0.0', () => note('listens', behaviour));
}

if (behaviour === 'crash') process.exit(7);
setTimeout(listen, behaviour === 'slow' ? 5000 : 0);
