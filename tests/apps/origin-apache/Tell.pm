package Tell;

# Tells a request back as Apache read it: its head, and its body.
use strict;
use warnings;
use Apache2::Const -compile => qw(OK);
use Apache2::RequestIO ();
use Apache2::RequestRec ();
use APR::Table ();

# No file of ours is meant, however the path looks.
sub skip { return Apache2::Const::OK }

sub tell {
    my $r = shift;
    my $told = $r->method . ' ' . $r->unparsed_uri . " HTTP/1.1\r\n";
    $r->headers_in->do(sub { $told .= "$_[0]: $_[1]\r\n"; 1 });
    $told .= "\r\n";
    while ($r->read(my $piece, 65536)) { $told .= $piece }
    $r->content_type('application/octet-stream');
    $r->print($told);
    return Apache2::Const::OK;
}

1;
