#!/usr/bin/perl
# GET /flood writes lines for 6 seconds as fast as they are taken; GET / says how many MiB that were, once it is over.
use strict;
use warnings;
use IO::Socket::INET;

my $socket = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $ENV{PORT} // 5000, Listen => 128, ReuseAddr => 1)
    or die "listen: $!\n";
$SIG{CHLD} = 'IGNORE';
$| = 1;
print "listening\n";

sub flood {
    my $block = ('flood ' . 'x' x 93 . "\n") x 600;
    my ($end, $bytes) = (time + 6, 0);
    while (time < $end) { $bytes += syswrite(STDOUT, $block) // 0 }
    open my $out, '>', '/tmp/written.new' or die "open: $!\n";
    printf $out "wrote %d MiB", $bytes >> 20;
    close $out;
    rename '/tmp/written.new', '/tmp/written';
    syswrite STDOUT, "the flood is over\n";
    exit 0;
}

while (1) {
    my $client = $socket->accept or next;
    my $path = (split ' ', scalar(<$client>) // '')[1] // '/';
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    my $said = 'dry';
    if (open my $file, '<', '/tmp/written') { $said = <$file> }
    printf $client "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length $said, $said;
    close $client;
    if ($path eq '/flood' && !fork) { close $socket; flood() }
}
