# Answers every request with the contents of VERSION, which was compiled in.
defmodule Hello.Application do
  use Application

  def start(_type, _arguments) do
    Supervisor.start_link([{Task, &Hello.Server.listen/0}], strategy: :one_for_one)
  end
end

defmodule Hello.Server do
  @external_resource "VERSION"
  @version File.read!("VERSION")

  def listen do
    port = String.to_integer(System.fetch_env!("PORT"))
    {:ok, socket} = :gen_tcp.listen(port, [:binary, packet: :http_bin, active: false, reuseaddr: true])
    accept(socket)
  end

  defp accept(socket) do
    {:ok, client} = :gen_tcp.accept(socket)
    spawn(fn -> answer(client) end)
    accept(socket)
  end

  defp answer(client) do
    case :gen_tcp.recv(client, 0) do
      {:ok, :http_eoh} -> respond(client)
      {:ok, _line} -> answer(client)
      {:error, _reason} -> :gen_tcp.close(client)
    end
  end

  defp respond(client) do
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: #{byte_size(@version)}\r\nconnection: close\r\n\r\n"
    :gen_tcp.send(client, head <> @version)
    :gen_tcp.close(client)
  end
end
