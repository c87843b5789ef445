#!/usr/bin/perl
# Answers every request with the contents of VERSION, a process per connection; SIGTERM lets those finish.
use strict;
use warnings;
use IO::Socket::INET;

my $port = shift // $ENV{PORT} // 5000;
my $socket = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 128, ReuseAddr => 1)
    or die "listen on $port: $!\n";
open my $file, '<', 'VERSION' or die "VERSION: $!\n";
my $version = <$file>;
close $file;

my $stopping = 0;
$SIG{TERM} = sub { $stopping = 1; close $socket };
$SIG{CHLD} = sub { 1 while waitpid(-1, 1) > 0 };
$| = 1;
print "listening on $port\n";

until ($stopping) {
    my $client = $socket->accept or next;
    my $child = fork // die "fork: $!\n";
    if ($child) { close $client; next }
    $SIG{TERM} = "IGNORE";
    alarm 30;
    close $socket;
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    printf $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length $version, $version;
    close $client;
    exit 0;
}
$SIG{CHLD} = 'DEFAULT';
1 while wait != -1;
print "stopped\n";
