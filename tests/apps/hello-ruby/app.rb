# Answers every request with the contents of VERSION.
$LOAD_PATH << "/usr/lib/ruby/vendor_ruby" << "/usr/share/rubygems-integration/all/gems/webrick-1.9.1/lib"
require "webrick"

server = WEBrick::HTTPServer.new(Port: ENV.fetch("PORT"), BindAddress: "0.0.0.0", AccessLog: [])
server.mount_proc("/") do |_request, response|
  response["Content-Type"] = "text/plain"
  response.body = File.read("VERSION")
end
trap("TERM") { server.shutdown }
server.start
