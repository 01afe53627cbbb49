# SPDX-License-Identifier: MIT
# A little of what Perl programs do: hashes, regular expressions, substitution, sorting, formatting.
use strict;
use warnings;

my ($state, %count, @lines) = (12345);
for my $i (1 .. 40000) {
	$state = ($state * 1103515245 + 12345) & 0x7fffffff;
	push @lines, sprintf("%s user%d: request %x took %.2f ms", (qw(info warn error))[$state % 3], $state % 977, $state, ($state % 10000) / 7);
}
for my $line (@lines) {
	if ($line =~ /^(\w+) user(\d+): request ([0-9a-f]+) took ([\d.]+) ms$/) {
		$count{"$1-" . $2 % 50} += $4;
		(my $copy = $3) =~ s/([a-f])/uc $1/ge;
		$count{length $copy}++;
		$count{$_}++ for split //, substr $copy, 0, 2;
	}
}
printf "%s %.2f\n", $_, $count{$_} for (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9];
printf "%s\n", join ' ', (sort map { join '', reverse split //, $_ } @lines[0 .. 4999])[0, 2500, 4999];
