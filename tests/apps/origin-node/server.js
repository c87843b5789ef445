// Tells every request back as Node's own server read it: its head, and its body.
'use strict';
const http = require('node:http');

const server = http.createServer({ maxHeaderSize: 128 * 1024 }, (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    let head = `${request.method} ${request.url} HTTP/1.1\r\n`;
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      head += `${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}\r\n`;
    }
    response.setHeader('Content-Type', 'application/octet-stream');
    response.end(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), ...parts]));
  });
});
server.listen(Number(process.env.PORT ?? 5000), () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));
