// Answers every request with the contents of VERSION, once its dependency and its build step have done their part.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const ms = require('ms');

const version = fs.readFileSync('VERSION');
const built = fs.readFileSync('built.txt', 'utf8');
http
  .createServer((request, response) => {
    response.setHeader('Content-Type', 'text/plain; charset=utf-8');
    response.end(request.url === '/built' ? `${built}, ${ms('2 days')} ms` : version);
  })
  .listen(Number(process.env.PORT ?? 5000));
