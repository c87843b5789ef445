#!/usr/bin/perl
# Answers every request with VERSION; GET /fill begins to write 32 MiB a second to its own disk, for ever.
use strict;
use warnings;
use IO::Socket::INET;

my $socket = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $ENV{PORT} // 5000, Listen => 128, ReuseAddr => 1)
    or die "listen: $!\n";
open my $file, '<', 'VERSION' or die "VERSION: $!\n";
my $version = <$file>;
$SIG{CHLD} = 'IGNORE';
$| = 1;
print "listening\n";

sub fill {
    open my $out, '>', '/tmp/fill' or die "open: $!\n";
    my $block = 'x' x (1 << 20);
    for (;;) {
        for (1 .. 8) { syswrite $out, $block or die "write: $!\n" }
        select undef, undef, undef, 0.25;
    }
}

while (1) {
    my $client = $socket->accept or next;
    my $path = (split ' ', scalar(<$client>) // '')[1] // '/';
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    printf $client "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length $version, $version;
    close $client;
    if ($path eq '/fill' && !fork) { close $socket; fill() }
}
