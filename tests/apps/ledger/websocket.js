// The server's half of RFC 6455, as far as an echo needs it: no extensions, whole frames up to 16 MiB.
'use strict';
const crypto = require('node:crypto');

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

function accept(request, socket, head) {
  const key = request.headers['sec-websocket-key'];
  if (!key) {
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  const answer = crypto.createHash('sha1').update(key + GUID).digest('base64');
  socket.setNoDelay(true);
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${answer}\r\n\r\n`,
  );
  let pending = head;
  const read = (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (let frame = take(pending); frame; frame = take(pending)) {
      pending = frame.rest;
      if (!reply(socket, frame)) return;
    }
    if (pending.length > PAYLOAD_BYTES_MAX + 14) socket.destroy();
  };
  socket.on('data', read);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  read(Buffer.alloc(0));
}

// The first whole frame of `bytes`, unmasked, and what follows it; null when more has to come.
function take(bytes) {
  if (bytes.length < 2) return null;
  let length = bytes[1] & 0x7f;
  let at = 2;
  if (length === 126) {
    if (bytes.length < 4) return null;
    length = bytes.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return null;
    length = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  const masked = (bytes[1] & 0x80) !== 0;
  const start = at + (masked ? 4 : 0);
  if (bytes.length < start + length) return null;
  const payload = Buffer.from(bytes.subarray(start, start + length));
  if (masked) {
    for (let i = 0; i < payload.length; i += 1) payload[i] ^= bytes[at + (i % 4)];
  }
  return { first: bytes[0], opcode: bytes[0] & 0x0f, payload, rest: bytes.subarray(start + length) };
}

// Sends the frame back; false when the conversation is over.
function reply(socket, frame) {
  if (frame.opcode === CLOSE) {
    socket.end(encode(0x80 | CLOSE, frame.payload));
    return false;
  }
  if (frame.opcode === PONG) return true;
  const first = frame.opcode === PING ? 0x80 | PONG : frame.first & 0x8f;
  return socket.write(encode(first, frame.payload)) || true;
}

function encode(first, payload) {
  let head;
  if (payload.length < 126) {
    head = Buffer.from([first, payload.length]);
  } else if (payload.length < 65536) {
    head = Buffer.from([first, 126, 0, 0]);
    head.writeUInt16BE(payload.length, 2);
  } else {
    head = Buffer.alloc(10);
    head[0] = first;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  return Buffer.concat([head, payload]);
}

module.exports = { accept };
