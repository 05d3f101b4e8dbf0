<?php
// Arrays, regular expressions, generators, files, JSON and serialisation.
$scale = (int) getenv('SCALE');

function records(int $count): Generator
{
    for ($number = 0; $number < $count; $number++) {
        yield ['number' => $number, 'name' => sprintf('name-%05d', $number * 7919 % 100003)];
    }
}

for ($turn = 1; $turn <= $scale; $turn++) {
    $records = iterator_to_array(records(8000));
    usort($records, fn ($a, $b) => $a['name'] <=> $b['name']);
    $text = json_encode($records);
    file_put_contents('records.json', $text);
    $again = json_decode(file_get_contents('records.json'), true);
    echo $turn, ' ', count($again), ' ', md5(serialize($again)), "\n";
    echo preg_match_all('/name-0(\d)\d*(?=3")/', $text), ' ', array_sum(array_column($again, 'number')), "\n";
    echo strlen(gzcompress($text, 6)), ' ', trim(shell_exec("printf %s $turn | rev")), "\n";
}
