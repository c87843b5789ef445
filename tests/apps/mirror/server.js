// Shows what reached it, byte by byte, and says what it is told to say. No HTTP library: that would be one more opinion.
//
// Every request is answered with its own head and decoded body, verbatim. But: `POST /say` answers with its body's bytes,
// whatever they are, and closes behind them when X-Then is `close`, resets when it is `reset`. `GET /seen` answers how many
// heads came, how many of these messages were whole, and what was no HTTP at all. `GET /` is for the health check.
'use strict';
const net = require('node:net');

const port = Number(process.env.PORT ?? 5000);
const seen = { heads: 0, whole: 0, broken: [] };

function field(head, name) {
  const match = new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'im').exec(head);
  return match ? match[1] : undefined;
}

// The decoded body and what follows it; null while it is unfinished; throws when it is none.
function unchunk(bytes) {
  const parts = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf('\r\n');
    if (end < 0) return null;
    const line = rest.subarray(0, end).toString('latin1');
    if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`chunk line ${JSON.stringify(line)}`);
    const size = parseInt(line, 16);
    rest = rest.subarray(end + 2);
    if (size === 0) return trailers(parts, rest);
    if (rest.length < size + 2) return null;
    if (rest.subarray(size, size + 2).toString('latin1') !== '\r\n') throw new Error('chunk without its end');
    parts.push(rest.subarray(0, size));
    rest = rest.subarray(size + 2);
  }
}

function trailers(parts, bytes) {
  const isNone = bytes.length >= 2 && bytes[0] === 13 && bytes[1] === 10;
  const end = isNone ? 0 : bytes.indexOf('\r\n\r\n');
  if (end < 0 || bytes.length < 2) return null;
  return { body: Buffer.concat(parts), rest: bytes.subarray(isNone ? 2 : end + 4) };
}

function bodyOf(head, bytes) {
  if (field(head, 'transfer-encoding') !== undefined) return unchunk(bytes);
  const length = Number(field(head, 'content-length') ?? 0);
  return bytes.length < length ? null : { body: bytes.subarray(0, length), rest: bytes.subarray(length) };
}

function answer(socket, head, body) {
  const [method, target] = head.split(' ');
  if (target === '/say') return say(socket, head, body);
  let told = Buffer.concat([Buffer.from(head, 'latin1'), body]);
  if (target === '/') told = Buffer.from('mirror\n');
  if (target === '/seen') told = Buffer.from(JSON.stringify(seen));
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${told.length}\r\n\r\n`);
  if (method !== 'HEAD') socket.write(told);
  return undefined;
}

function say(socket, head, words) {
  socket.write(words, () => {
    const then = field(head, 'x-then');
    if (then === 'close') socket.end();
    if (then === 'reset') socket.resetAndDestroy();
  });
}

function serve(socket) {
  let pending = Buffer.alloc(0);
  let head = null;
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (bytes) => {
    pending = Buffer.concat([pending, bytes]);
    for (;;) {
      if (head === null) {
        const end = pending.indexOf('\r\n\r\n');
        if (end < 0) return;
        head = pending.subarray(0, end + 4).toString('latin1');
        pending = pending.subarray(end + 4);
        const target = head.split(' ')[1];
        if (target !== '/' && target !== '/seen') seen.heads += 1;
      }
      let whole;
      try {
        whole = bodyOf(head, pending);
      } catch (error) {
        seen.broken.push(error.message);
        socket.destroy();
        return;
      }
      if (whole === null) return;
      const target = head.split(' ')[1];
      if (target !== '/' && target !== '/seen') seen.whole += 1;
      pending = whole.rest;
      answer(socket, head, whole.body);
      head = null;
    }
  });
  socket.on('end', () => {
    if (head === null && pending.length > 0) seen.broken.push(pending.toString('latin1'));
    socket.end();
  });
}

net.createServer({ allowHalfOpen: true }, serve).listen(port, () => console.log(`listening on ${port}`));
process.on('SIGTERM', () => process.exit(0));
