"""Tells every request back as uvicorn read it: its head, and its body."""


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    head = scope["method"].encode("latin-1") + b" " + target + b" HTTP/1.1\r\n"
    for name, value in scope["headers"]:
        head += name + b": " + value + b"\r\n"
    kind = (b"content-type", b"application/octet-stream")
    await send({"type": "http.response.start", "status": 200, "headers": [kind]})
    await send({"type": "http.response.body", "body": head + b"\r\n" + body})
