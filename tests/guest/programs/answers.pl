# SPDX-License-Identifier: MIT
# Perl's core at work inside the guest, with known answers; the modules used are those of the perl package itself.
use strict;
use warnings;
use Test::More;

use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha1_hex sha256_hex sha512_hex);
use List::Util qw(sum max reduce);
use Math::BigInt;
use MIME::Base64;
use POSIX qw(floor fmod strtol);
use Storable qw(freeze thaw);
use Compress::Zlib;
use Encode qw(encode decode);

is(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72", "MD5 of RFC 1321");
is(sha1_hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d", "SHA-1 of FIPS 180");
is(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "SHA-256 of FIPS 180");
like(sha512_hex("abc"), qr/^ddaf35a193617abacc417349ae204131/, "SHA-512 of FIPS 180");
is(encode_base64("foobar", ""), "Zm9vYmFy", "base64 of RFC 4648");
is(crc32("123456789"), 0xcbf43926, "CRC-32 check value");

is(Math::BigInt->new(2)->bpow(127)->bsub(1)->bstr, "170141183460469231731687303715884105727", "2**127 - 1");
is(Math::BigInt->new(30)->bfac->bstr, "265252859812191058636308480000000", "30!");
is(sum(1 .. 1000), 500500, "sum");
is((reduce { $a * $b } 1 .. 10), 3628800, "reduce");

is(sprintf("%.15g", atan2(1, 1) * 4), "3.14159265358979", "pi");
is(sprintf("%.15g", exp(1)), "2.71828182845905", "e");
is(sprintf("%.15g", sqrt(2)), "1.4142135623731", "square root of 2") or 1;
is(9007199254740993, "9007199254740993", "64-bit integers");
is(18446744073709551615 % 1000, 615, "unsigned 64-bit remainder");
is(-7 % 3, 2, "remainder has the sign of its right side");
is(fmod(7.5, 2), 1.5, "fmod");
is(floor(-1.5), -2, "floor");
is((strtol("7f", 16))[0], 127, "strtol");

my %count;
$count{$_}++ for split //, "mississippi";
is(join(",", map { "$_$count{$_}" } sort keys %count), "i4,m1,p2,s4", "hashes");
is(join(" ", sort { $a <=> $b } 10, 9, 2, 33, 1), "1 2 9 10 33", "numeric sort");
(my $text = "2001-02-03") =~ s/(\d+)-(\d+)-(\d+)/$3.$2.$1/;
is($text, "03.02.2001", "substitution");
is(join("|", "aXbXXc" =~ /([a-z])/g), "a|b|c", "global match");
ok("foobar" =~ /^(?=foo)(?!.*baz)\w+$/, "look-around");
is(length(encode("UTF-8", "\x{20ac}")), 3, "UTF-8");
is(decode("UTF-8", "\xe2\x82\xac"), "\x{20ac}", "UTF-8 back");
is_deeply(thaw(freeze({a => [1, 2, {b => 3}]})), {a => [1, 2, {b => 3}]}, "Storable");
my $data = join("", map { chr($_ * 7 % 251) } 0 .. 99999);
is(md5_hex(uncompress(compress($data))), md5_hex($data), "zlib round trip");
is(unpack("H*", pack("nNvV", 1, 2, 3, 4)), "000100000002030004000000", "pack");
is(eval { die {code => 7} } // $@->{code}, 7, "exceptions");

my $pid = fork();
exit(3) if $pid == 0;
waitpid($pid, 0);
is($? >> 8, 3, "fork and wait");
pipe(my $in, my $out);
if (!fork()) {
	print $out "through a pipe\n";
	exit 0;
}
close $out;
is(scalar(<$in>), "through a pipe\n", "pipe");
wait();
local $SIG{ALRM} = sub { die "alarm\n" };
eval { alarm 1; select(undef, undef, undef, 10); };
is($@, "alarm\n", "alarm");

my @sieve = (1) x 100001;
for my $i (2 .. 316) {
	next unless $sieve[$i];
	for (my $j = $i * $i; $j <= 100000; $j += $i) { $sieve[$j] = 0 }
}
is(sum(@sieve[2 .. 100000]), 9592, "primes below 100,000");
done_testing();
