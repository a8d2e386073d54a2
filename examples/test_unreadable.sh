# test_unreadable.sh PROGRAM: a file that cannot be read is a row with the reason and an exit status of 1, and costs the
# other files nothing; a folder that is not there is a bad argument. (Dangling links, because root may read any file.)

program=$1
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT

for i in 1 2 3 4 5 6 7 8 9; do
  echo "content $i" > "$folder/file_$i"
done
ln -s nowhere "$folder/broken_1"
ln -s nowhere "$folder/broken_2"
mkfifo "$folder/pipe"
ln -s . "$folder/loop"

fail() {
  echo "$1"
  cat "$folder.out"
  rm -f "$folder.out"
  exit 1
}

( ulimit -n 64; "$program" --all "$folder" > "$folder.out" 2>&1 )
test $? -eq 1 || fail "exit status is not 1"
test "$(grep -c 'file_[1-9]$' "$folder.out")" -eq 9 || fail "a readable file is missing"
grep -q "cannot open $folder/broken_1: No such file or directory" "$folder.out" || fail "no row for broken_1"
grep -q "cannot open $folder/broken_2: No such file or directory" "$folder.out" || fail "no row for broken_2"
grep -q "cannot open $folder/pipe: not a regular file" "$folder.out" || fail "no row for pipe"
grep -q "total: 12 files, .* 3 failed" "$folder.out" || fail "the totals are wrong"
sum=$(sha256sum < "$folder/file_1" | cut -d' ' -f1)
grep -q "$sum  file_1" "$folder.out" || fail "the digest is wrong"

"$program" "$folder/missing" > "$folder.out" 2>&1
test $? -eq 2 || fail "a missing folder is not a bad argument"
rm -f "$folder.out"
