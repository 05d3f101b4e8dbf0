# Text, hashes, sorting, files, a pipe from and to children, a fork with a signal.
use strict;
use warnings;
use Time::HiRes qw(sleep);

$| = 1;
my $scale = $ENV{SCALE};
my %count;
my $state = 1;
for my $turn (1 .. 12_000 * $scale) {
    $state = ($state * 1103515245 + 12345) % 2147483648;
    my $word = join '', map { chr(97 + ($state >> $_) % 7) } (3, 7, 11);
    $count{$word}++;
    $count{ucfirst reverse $word} += length $word if $word =~ /^([a-c])\w*\1$/;
}
for my $word (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count) {
    printf "%-5s %6d\n", $word, $count{$word} if $count{$word} > 20 * $scale;
}

open my $out, '>', 'table.txt' or die "table.txt: $!";
printf $out "%08d %s\n", $count{$_}, $_ for sort keys %count;
close $out or die "table.txt: $!";

for my $turn (1 .. $scale) {
    open my $sorted, '-|', 'sort', '-r', 'table.txt' or die "sort: $!";
    my @lines = <$sorted>;
    close $sorted or die "sort: $?";
    open my $counter, '|-', 'wc -l >lines.txt' or die "wc: $!";
    print $counter @lines;
    close $counter or die "wc: $?";
}

my $heard = 0;
$SIG{USR1} = sub { $heard++ };
$SIG{CHLD} = 'DEFAULT';
my $parent = $$;
for my $turn (1 .. 4) {
    my $child = fork // die "fork: $!";
    if (!$child) {
        kill USR1 => $parent;
        exit $turn;
    }
    waitpid $child, 0;
    print "child $turn: ", $? >> 8, "\n";
    sleep 0.01 while $heard < $turn;
}
print "heard $heard\n";
eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; sleep 100; };
print "after: $@";
