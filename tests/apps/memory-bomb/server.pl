#!/usr/bin/perl
# Answers every request with the contents of VERSION; GET /bomb takes memory without end.
use strict;
use warnings;
use IO::Socket::INET;

my $port = shift // $ENV{PORT} // 5000;
my $socket = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 128, ReuseAddr => 1)
    or die "listen on $port: $!\n";
open my $file, '<', 'VERSION' or die "VERSION: $!\n";
my $version = <$file>;
close $file;

sub bomb {
    my @hoard;
    while (1) { push @hoard, 'x' x (1 << 20) }
}

$SIG{CHLD} = 'IGNORE';
$SIG{TERM} = sub { exit 0 };
$| = 1;
print "listening on $port\n";

while (1) {
    my $client = $socket->accept or next;
    my $request = <$client> // '';
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    printf $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length $version, $version;
    close $client;
    bomb() if $request =~ m{^GET /bomb };
}
