#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh FERRY FIXTURES - the program as people meet it: exit codes, messages, files. Prints what failed; exit code 0 if nothing did.
set -u
ferry=$(realpath "$1")
fixtures=$(realpath "$2")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 2
cp "$fixtures/pt2/t215/blocks.pt2" "$fixtures/pt2/t215/cnn_dyn.pt2" .
blocks=$dir/blocks.pt2
cnn=$dir/cnn_dyn.pt2
ran=0
failed=0

# expect CODE PATTERN ARGUMENTS...: exit code, and a line of output or error that matches (an extended regular expression; "" for any).
expect() {
    local code=$1 pattern=$2
    shift 2
    "$ferry" "$@" >out.txt 2>err.txt </dev/null
    local got=$?
    ran=$((ran + 1))
    if [ $got -ne "$code" ]; then
        failed=$((failed + 1))
        echo "FAIL: ferry $*: exit code $got, not $code"
        sed 's/^/    /' err.txt | head -5
    elif [ -n "$pattern" ] && ! cat out.txt err.txt | grep -Eq -- "$pattern"; then
        failed=$((failed + 1))
        echo "FAIL: ferry $*: no line matches \"$pattern\""
        cat out.txt err.txt | sed 's/^/    /' | head -8
    fi
}

# holds TEXT COMMAND...: the command succeeds.
holds() {
    local text=$1
    shift
    ran=$((ran + 1))
    "$@" >hold.txt 2>&1 && return
    failed=$((failed + 1))
    echo "FAIL: $text"
    sed 's/^/    /' hold.txt | head -5
}

same() { cmp -s "$1" "$2"; }
not() { ! "$@"; }
has() { grep -Eq -- "$2" "$1"; }

# ---- files that are no .pt2 ------------------------------------------------------------------------------------------
head -c 5000 "$blocks" >cut.pt2
expect 3 'error\[TRUNCATED\]' export cut.pt2 -o x.onnx
cp "$blocks" bent.pt2
at=$(grep -abo '"graph_module"' bent.pt2 | head -1 | cut -d: -f1)
printf '\377\377\377\377' | dd of=bent.pt2 bs=1 seek="$at" conv=notrunc 2>/dev/null
expect 3 'error\[' export bent.pt2 -o x.onnx
: >empty.pt2
expect 3 'error\[' export empty.pt2 -o x.onnx
head -c 4000 /dev/zero >zeros.pt2
expect 3 'error\[FORMAT\]' export zeros.pt2 -o x.onnx
expect 3 'AOTInductor' export "$fixtures/other/aoti.pt2" -o x.onnx
expect 3 'help: make a .pt2|torch.export.save' export "$fixtures/other/state_dict.pth" -o x.onnx
expect 3 'safetensors' export "$fixtures/other/weights.safetensors" -o x.onnx
expect 3 'pickle' export "$fixtures/other/module.pth" -o x.onnx
expect 3 'ONNX model' export "$fixtures/onnx/mlp.onnx" -o x.onnx
expect 0 '4 tensors|2 tensors' info "$fixtures/other/state_dict.pth"
expect 3 'error\[' check "$fixtures/other/state_dict.pth"
expect 3 'error\[' check "$fixtures/other/array.npy"
for n in 1 30 80 150; do
    head -c $n "$fixtures/onnx/mlp.onnx" >cut.onnx
    expect 3 'error\[' check cut.onnx
done
expect 4 "error\\[NOFILE\\].*absent" export absent.pt2 -o x.onnx
expect 4 'error\[NOFILE\]' info absent.onnx
mkdir folder
expect 3 'error\[FORMAT\].*folder' export folder -o x.onnx
expect 3 'error\[' info folder
if [ "$(id -u)" -ne 0 ]; then
    cp "$blocks" locked.pt2
    chmod 0 locked.pt2
    expect 4 'error\[NOFILE\]' export locked.pt2 -o x.onnx
fi
holds 'nothing is written for a file that is refused' not test -e x.onnx

# ---- TorchScript ------------------------------------------------------------------------------------------------------
ts=$fixtures/torchscript
expect 2 'ferry export resnet_script.pt --shape x=1x3x224x224' export "$ts/resnet_script.pt" -o x.onnx
expect 2 'there is no input .y.' export "$ts/resnet_script.pt" --shape y=1x3x32x32 -o x.onnx
expect 2 'is not NAME=SIZExSIZE' export "$ts/resnet_script.pt" --shape x=1x -o x.onnx
expect 2 'has recorded shapes' export "$blocks" --shape x=1 -o x.onnx
holds 'nothing is written without shapes' not test -e x.onnx
expect 0 'verified' export "$ts/resnet_trace.pt" --dynamic-batch -o ts.onnx
expect 0 'f32\[batch,10\]' info ts.onnx
expect 0 'verified' export "$ts/vad16.pt" --shape x=1x256 --shape sr=16000 -o vad.onnx
expect 0 'verified' export "$ts/gru_loop.pt" --shape x=2x5x4 --dynamic x:1=time -o loop.onnx
expect 0 'time' info loop.onnx
expect 3 '--plugin maps operators of your own' export "$fixtures/pt2/custom/custom.pt2" -o x.onnx
expect 0 'verified.*height 12, 3' export "$ts/resize.pt" --shape x=1x1x12x14 --dynamic x:2=height --dynamic x:3=width -o resize.onnx
cp "$ts/while.pt" renamed.bin
expect 0 '' run renamed.bin --shape x=2x3 --random
expect 0 '' info renamed.bin --shape x=2x3
expect 0 '' check renamed.bin --shape x=2x3
expect 0 'verified' export renamed.bin --shape x=2x3 -o while.onnx
expect 0 'max abs' verify while.onnx --against renamed.bin --shape x=2x3

# ---- export -----------------------------------------------------------------------------------------------------------
expect 0 'verified' export "$blocks" -o blocks.onnx
expect 0 '' check blocks.onnx
expect 0 '' export "$blocks" -o again.onnx
holds 'two exports give the same bytes' same blocks.onnx again.onnx
(cd folder && "$ferry" export "$blocks" -o ../third.onnx --threads 1 >/dev/null 2>&1)
holds 'the folder and the threads do not show in the bytes' same blocks.onnx third.onnx
cp "$blocks" default.pt2
expect 0 '' export default.pt2
holds 'the default output is beside the source' test -s default.onnx
expect 2 'error\[USAGE\]|its own source' export default.pt2 -o default.pt2
holds 'the source is as it was' same "$blocks" default.pt2
ln -s default.pt2 link.pt2
expect 2 '' export default.pt2 -o link.pt2
expect 2 '' export default.pt2 -o ./folder/../default.pt2
holds 'the source is as it was' same "$blocks" default.pt2
expect 4 'error\[WRITE\]|error\[NOFILE\]' export "$blocks" -o absent/x.onnx
expect 4 'error\[' export "$blocks" -o folder
expect 2 'opset: 5 is outside' export "$cnn" -o x.onnx --opset 5
for opset in 13 17 21; do expect 0 '' export "$cnn" -o "o$opset.onnx" --opset $opset; done
expect 0 'opset +13|13' info o13.onnx

# ---- metadata ---------------------------------------------------------------------------------------------------------
expect 0 'verified' info blocks.onnx
expect 0 'blocks.pt2' info blocks.onnx
holds 'the hash of the source is in the file' grep -aq "$(sha256sum "$blocks" | cut -d' ' -f1)" blocks.onnx
expect 0 '' export "$blocks" -o bare.onnx --no-provenance
holds '--no-provenance leaves no ferry.* in the file' not grep -aq 'ferry\.\(source\|verified\|version\)' bare.onnx
expect 0 'not verified' export "$blocks" -o unverified.onnx --no-verify
expect 0 '' run bare.onnx --random
holds 'no path of this machine is in the file' not grep -aq "$dir" blocks.onnx

# ---- external data ----------------------------------------------------------------------------------------------------
expect 0 '' export "$cnn" -o ext.onnx --external-data
holds 'the weights are in a second file' test -s ext.onnx.data
expect 0 '' export "$cnn" -o whole.onnx
expect 0 '' run ext.onnx --random -o ext.npz
expect 0 '' run whole.onnx --random -o whole.npz
holds 'outputs are the same with external data' same ext.npz whole.npz
expect 0 '' verify ext.onnx --against "$cnn"
mkdir moved
mv ext.onnx moved/
expect 4 'ext.onnx.data' run moved/ext.onnx --random

# the program's own checks as outputs
expect 2 'neither keep nor drop' export "$fixtures/pt2/ops/asserts.pt2" -o a.onnx --asserts perhaps
expect 0 'assert_3 +bool' export "$fixtures/pt2/ops/asserts.pt2" -o a.onnx --asserts keep
expect 0 'ferry.assert:assert_3 +x is above -100' info a.onnx
expect 0 'assert_3 +bool' verify a.onnx --against "$fixtures/pt2/ops/asserts.pt2"
expect 0 'verified' optimize a.onnx -o b.onnx
expect 0 'verified' export "$fixtures/pt2/ops/asserts.pt2" -o a.onnx
holds 'checks are left out unless asked for' not bash -c '"$0" info a.onnx | grep -q ferry.assert' "$ferry"

# a whole program of PT2E: every product over bytes
for model in network:conv.u8s8:3 network:gemm.u8s8:1 layer:gemm.u8s8:6; do
    IFS=: read -r name kernel count <<<"$model"
    expect 0 'verified' export "$fixtures/pt2/quantised/$name.pt2" -o "$name.onnx"
    expect 0 "$kernel" profile "$name.onnx" --verbose
    holds "$name: $count times $kernel" test "$("$ferry" profile "$name.onnx" --verbose | grep -c "$kernel")" -eq "$count"
done

# ---- convert ----------------------------------------------------------------------------------------------------------
llama=$fixtures/pt2/t215/llama_dyn.pt2
expect 0 '' export "$llama" -o l24.onnx --opset 24
expect 0 'opset 24 -> 13' convert l24.onnx -o l13.onnx --opset 13
expect 0 'Attention +1 written out' convert l24.onnx -o l13.onnx --opset 13
expect 0 'batch=2 sequence=2' convert l24.onnx -o l13.onnx --opset 13
expect 0 'batch=3' convert l24.onnx -o l13.onnx --opset 13
expect 0 'opset +13|13' info l13.onnx
expect 0 '' verify l13.onnx --against "$llama"
expect 0 'logits +f32\[batch,sequence,' info l13.onnx
expect 0 'ferry.opset +13' info l13.onnx
expect 0 'ferry.source +llama_dyn.pt2' info l13.onnx
expect 0 '"written_out": 1' convert l24.onnx -o l13.onnx --opset 13 --json
expect 0 'opset 13 -> 28' convert l13.onnx l28.onnx --opset 28
expect 0 '' convert l24.onnx -o again.onnx --opset 13
holds 'two conversions give the same bytes' same l13.onnx again.onnx
expect 0 'Upsample +1 adapted' convert "$fixtures/onnx/ir3.onnx" -o up.onnx --opset 21
expect 0 'not verified' convert "$fixtures/onnx/types.onnx" -o types.onnx --opset 23 --no-verify
expect 3 'test.Everything' convert "$fixtures/onnx/types.onnx" -o none.onnx --opset 23
expect 2 'which opset' convert l24.onnx -o none.onnx
expect 2 'where to write' convert l24.onnx --opset 13
expect 2 'outside 13..' convert l24.onnx -o none.onnx --opset 12
expect 2 'outside 13..' convert l24.onnx -o none.onnx --opset 29
expect 2 'did you mean' convert l24.onnx -o none.onnx --opset 13 --tolerence 1
expect 2 'overwrite its input' convert l24.onnx -o ./folder/../l24.onnx --opset 13
expect 2 'there is no engine' convert l24.onnx -o none.onnx --opset 13 --engine tpu
expect 3 'error\[' convert "$cnn" -o none.onnx --opset 13
expect 4 'error\[NOFILE\]' convert absent.onnx -o none.onnx --opset 13
holds 'nothing is written where something is wrong' not test -e none.onnx
echo old >gate.onnx
expect 1 'nothing was written' convert l24.onnx -o gate.onnx --opset 13 --tolerance 0
holds 'a gate that says no leaves what was there' grep -qx old gate.onnx
expect 0 '' convert l24.onnx -o data.onnx --opset 17 --external-data
holds 'weights of a converted model in a second file' test -s data.onnx.data
expect 0 'opset 17 -> 13' convert data.onnx -o plain.onnx --opset 13
expect 0 '' verify plain.onnx --against "$llama"

# ---- full disks ---------------------------------------------------------------------------------------------------------
echo old >full.onnx
for kib in 1 4 16; do
    (ulimit -f $kib; trap '' XFSZ; "$ferry" export "$fixtures/pt2/t215/resnet18.pt2" -o full.onnx >limit.txt 2>&1; echo $? >code.txt)
    holds "a full disk after $kib KiB is exit code 4" grep -qx 4 code.txt
    holds 'the message names the cause' has limit.txt 'error\[WRITE\].*(full.onnx|limit|space|large)'
    holds 'the old file is intact' grep -qx old full.onnx
    expect 0 '1 operators, .* 0 faults' selftest hostile --op Gather --trials 10
expect 2 'no operator' selftest hostile --op Gatherr
expect 2 'one folder' selftest hostile a b

holds 'no temporary is left' not compgen -G 'full.onnx.*'
done
(ulimit -f 1; "$ferry" export "$fixtures/pt2/t215/resnet18.pt2" -o full.onnx >/dev/null 2>&1; echo $? >code.txt)
holds 'the signal of the file size limit does not kill' grep -qx 4 code.txt
if [ -w /dev/full ]; then
    "$ferry" info blocks.onnx >/dev/full 2>err.txt
    holds 'standard output on a full device is exit code 4' test $? -eq 4
    holds 'and says so' has err.txt 'error\[WRITE\]'
    expect 4 'error\[' export "$blocks" -o /dev/full
    expect 4 'error\[' run blocks.onnx --random -o /dev/full
    holds '/dev/full is still a device' test -c /dev/full
else echo "skipped: /dev/full (there is none)"; fi

# ---- run ----------------------------------------------------------------------------------------------------------------
expect 0 '' run blocks.onnx --random
expect 0 '' run "$blocks" --random
expect 2 "input 'x' is missing" run blocks.onnx --inputs "$fixtures/pt2/t215/blocks.npz"
expect 2 'input' run blocks.onnx
expect 4 'error\[NOFILE\]' run blocks.onnx --inputs absent.npz
expect 3 'error\[(SHAPE|TYPE)\]' run blocks.onnx --inputs "$fixtures/npz/scalar.npy"
expect 3 'error\[(SHAPE|TYPE)\]' run blocks.onnx --inputs "$fixtures/npz/text.npy"
expect 3 'error\[' run blocks.onnx --inputs "$fixtures/npz/object.npy"
expect 3 'error\[' run blocks.onnx --inputs "$fixtures/other/legacy.pth"
expect 2 '' run blocks.onnx --random --sizes nosuch=3
expect 4 'error\[' run blocks.onnx --random -o absent/out.npz
expect 0 '' run blocks.onnx --random --seed 3 -o a.npz
expect 0 '' run blocks.onnx --random --seed 3 --threads 1 -o b.npz
holds 'the same seed gives the same bits, whatever the threads' same a.npz b.npz
expect 0 '' run blocks.onnx --random --seed 4 -o c.npz
holds 'another seed gives others' not same a.npz c.npz

# ---- strings, sequences, maps ---------------------------------------------------------------------------------------------
ml=$fixtures/onnx/ml.onnx
words=$fixtures/npz/ml.npz
expect 0 'maps +seq\(map\(str, f32\[\]\)\)  \[\{"a": 0.077' run "$ml" --inputs "$words"
expect 0 'pieces +str\[4,3\]  \[\["a", "a", ""\], .*\["ä", "ä", ""\]\]' run "$ml" --inputs "$words"
expect 0 '"name": "maps", "type": "seq\(map\(str, f32\[\]\)\)", "value": \[\{"a": 0.077' run "$ml" --inputs "$words" --json
expect 0 '"name": "word", "dtype": "str", "shape": \[4\], "value": \["zero", "one", "many", "many"\]' run "$ml" --inputs "$words" --json
expect 0 'written maps.npz' run "$ml" --inputs "$words" -o maps.npz
holds 'maps are arrays of keys and of values' has maps.npz 'maps.keys.npy'
holds 'strings are arrays too' has maps.npz 'pieces.npy'
expect 3 'error\[TYPE\].*words' run "$ml" --inputs "$words" --inputs words="$fixtures/npz/f4.npy"
expect 3 'error\[UNSUPPORTED\]' run "$ml" --random
expect 0 'output +maps +seq\(map\(str, f32\[\]\)\)' info "$ml"
expect 0 'valid' check "$ml"
expect 0 'back +str\[4\]  \["zero", "none", "none", "none"\]' run "$fixtures/onnx/ml1.onnx" --inputs "$words"
expect 0 'r4 +f32\[2,2\]' run "$fixtures/onnx/ml5.onnx" --inputs "$words"
expect 0 'ZipMap' explain ZipMap

# ---- verify and check -----------------------------------------------------------------------------------------------------
expect 0 'verified' verify blocks.onnx --against "$blocks"
expect 1 'NOT the same' verify blocks.onnx --against "$blocks" --tolerance 0
expect 3 'error\[' verify blocks.onnx --against "$fixtures/other/state_dict.pth"
expect 0 '' check blocks.onnx
expect 0 '' explain TRUNCATED
expect 2 'TRUNCATED' explain TRUNCATE

# ---- the command line -------------------------------------------------------------------------------------------------------
expect 2 'did you mean .*export' exprot "$blocks"
expect 2 'there is no command' nosuchthing
expect 2 'did you mean --opset' export "$blocks" --opsett 17
expect 2 'opset' export "$blocks" --opset seventeen
expect 2 'opset' export "$blocks" --opset
expect 2 '' export
cp "$cnn" other.pt2
expect 2 'one model at a time' export "$blocks" other.pt2
holds 'a second .pt2 is not overwritten' same "$cnn" other.pt2
expect 2 'there is no input' export "$blocks" -o x.onnx --dynamic nosuchinput:0=batch
expect 2 '' export "$blocks" -o x.onnx --dynamic garbage
expect 2 'engine' export "$blocks" -o x.onnx --engine nosuchengine
expect 2 '' run blocks.onnx --random --seed x
expect 0 '' export "$blocks" -o x.onnx --no_verify --input_names=a
expect 0 '' export "$blocks" -o y.onnx --no-verify --input-names a
holds '_ and - are the same in flags' same x.onnx y.onnx
expect 0 'ferry [0-9]+\.[0-9]+' --version
expect 0 'usage' help
expect 0 'usage' --help
expect 0 '' export "$blocks" -o q.onnx --quiet
holds '--quiet is quiet' not test -s out.txt
holds '--quiet is quiet on the other stream' not test -s err.txt

# ---- optimize ---------------------------------------------------------------------------------------------------------------
expect 0 '' export "$cnn" -o bn.onnx --no-fold-bn
expect 0 'BatchNormalization [0-9]+ -> 0' optimize bn.onnx -o small.onnx
expect 0 'as they were' optimize small.onnx -o same.onnx
expect 0 'not verified' optimize bn.onnx small.onnx --no-verify --level basic
expect 1 'nothing was written' optimize bn.onnx -o none.onnx --tolerance 0
holds 'a gate that says no leaves nothing' not test -e none.onnx
expect 2 'where to write' optimize bn.onnx
expect 2 'would overwrite' optimize bn.onnx -o bn.onnx
expect 2 'is neither basic nor extended' optimize bn.onnx -o none.onnx --level all
expect 2 'is no size' optimize bn.onnx -o none.onnx --fold-budget big
expect 2 "there is no pass" optimize bn.onnx -o none.onnx --skip-pass nosuchpass
expect 3 'error\[' optimize "$blocks" -o none.onnx
for flag in level fold-budget no-fold no-fold-bn keep-weights no-verify tolerance relative-to-range seed sizes engine threads external-data stop-after skip-pass dump; do
    "$ferry" help optimize >out.txt
    holds "help of optimize lists --$flag" has out.txt "^  --$flag "
done

commands=$("$ferry" help | sed -n 's/^  \([a-z]*\)  .*/\1/p')
holds 'help lists commands' test "$(echo "$commands" | wc -w)" -ge 8
for c in $commands; do
    expect 0 'exit codes' help "$c"
    for flag in --json --quiet --verbose --help; do holds "help of $c lists $flag" has out.txt "^  $flag "; done
    "$ferry" "$c" --help >other.txt 2>&1
    holds "ferry $c --help is ferry help $c" same out.txt other.txt
    expect 2 "there is no flag --no-such-flag-here" "$c" --no-such-flag-here
done
# Every option that the documentation of the library names is a flag of the program.
for flag in opset input-names output-names dynamic dynamic-batch dim-names no-fold no-fold-bn external-data no-verify tolerance relative-to-range engine threads training \
    keep-traces no-provenance stop-after skip-pass dump; do
    "$ferry" help export >out.txt
    holds "help of export lists --$flag" has out.txt "^  --$flag "
done

# ---- weights --------------------------------------------------------------------------------------------------------------
expect 0 'section  model' info "$fixtures/weights/tuned.pth"
expect 0 '13 tensors' weights "$fixtures/weights/net.pt2" -o w.safetensors
expect 2 'where to write' weights "$fixtures/weights/net.pt2"
expect 0 '13 of 13 from tuned.pth' export "$fixtures/weights/net.pt2" --weights "$fixtures/weights/tuned.pth" -o tuned.onnx
expect 0 'prefix   module. taken off' export "$fixtures/weights/net.pt2" --weights "$fixtures/weights/tuned.pth" -o tuned.onnx
expect 1 'missing 1' export tuned.onnx --weights "$fixtures/weights/bad.pth" -o bad.onnx
holds 'nothing is written when weights do not match' not test -e bad.onnx
expect 0 'weights' export tuned.onnx --weights w.safetensors -o back.onnx
expect 2 'did you mean' export tuned.onnx --weights "$fixtures/weights/tuned.pth" --section modle -o back.onnx

# ---- diff -----------------------------------------------------------------------------------------------------------------
expect 0 'same: ' diff tuned.onnx tuned.onnx
expect 1 'weights' diff back.onnx tuned.onnx
expect 0 'weights not compared' diff back.onnx tuned.onnx --no-weights --no-metadata
expect 1 '"same": false' diff back.onnx tuned.onnx --json
expect 2 'too few' diff tuned.onnx
expect 4 'NOFILE' diff tuned.onnx nothing.onnx

# ---- view -----------------------------------------------------------------------------------------------------------------
expect 0 'nodes' view tuned.onnx -o tuned.html
holds 'the page is one' has tuned.html '<!DOCTYPE html>'
expect 2 'where to write' view tuned.onnx
expect 2 'would overwrite its input' view tuned.onnx -o tuned.onnx
expect 3 'error' view "$fixtures/other/array.npy" -o no.html

# ---- kernels --------------------------------------------------------------------------------------------------------------
expect 0 "passed, 0 failed" selftest kernels --kernel softmax
expect 0 "GFLOP/s of FMAs" selftest kernels --bench --kernel pool --isa generic
expect 2 "no instruction set 'sse9'" selftest kernels --isa sse9
expect 2 "none whose name holds 'nothing'" selftest kernels --kernel nothing
expect 2 "takes no paths" selftest kernels somewhere
expect 2 "did you mean 'kernels'" selftest kernel
# ---- speed: what is said, never how fast ------------------------------------------------------------------------------------
"$ferry" export "$cnn" -o speed.onnx -q
expect 0 'median .* noise' bench speed.onnx --seconds 0.01 --threads 1 --save speed.json
expect 0 'MB private' bench speed.onnx --seconds 0
expect 0 'inputs .*f32\[3,' bench speed.onnx --seconds 0.01 --batch 3
expect 0 'cycle .*3 shapes' bench speed.onnx --seconds 0.01 --cycle batch=1..5:2
expect 2 'cycle' bench speed.onnx --seconds 0 --cycle batch
expect 2 'option .secs|flag --secs' bench speed.onnx --secs 1
expect 2 'seconds' bench speed.onnx --seconds fast
expect 2 'hour' bench speed.onnx --seconds 1e9
expect 2 'no input has a size' bench speed.onnx --sizes nobody=3
expect 3 'SHAPE.*fixed' bench blocks.onnx --seconds 0 --batch 77777
expect 4 'NOFILE' bench speed.onnx --against absent.json
expect 4 'NOFILE' bench absent.onnx
printf '{}' >empty.json
expect 3 'no report of `ferry bench' bench speed.onnx --against empty.json
printf '%s' '{"seconds": {"median": 1e-9}, "noise": 0, "cpu": "another"}' >fast.json
expect 1 'slower' bench speed.onnx --seconds 0.01 --against fast.json
expect 1 'another machine' bench speed.onnx --seconds 0.01 --against fast.json
printf '%s' '{"seconds": {"median": 1e9}, "noise": 0}' >slow.json
expect 0 'faster' bench speed.onnx --seconds 0.01 --against slow.json
expect 0 'by operator' profile speed.onnx --seconds 0 --threads 1 --html speed.html --trace trace.json
holds 'the page has the graph' has speed.html '<svg '
holds 'the page has a node' has speed.html '<g id="s0">'
holds 'the trace has events' has trace.json '"ph": "X"'
expect 2 'cannot be watched' profile speed.onnx --engine reference
expect 4 'error\[' profile speed.onnx --seconds 0 --html no/such/folder/p.html
expect 0 'taken' explain speed.onnx --node 0
expect 0 'declined: ' explain speed.onnx --node 0
expect 2 'there is no node' explain speed.onnx --node nobody
expect 2 'does not tell' explain speed.onnx --node 0 --engine reference
expect 0 '^cpu: (generic|avx|amx)' --version
expect 0 'kernels for (generic|avx|amx)' doctor
holds 'FERRY_CPU narrows what is used' bash -c 'FERRY_CPU=generic "$0" --version | grep -qx "cpu: generic"' "$ferry"

# ---- JSON -----------------------------------------------------------------------------------------------------------------
if command -v python3 >/dev/null 2>&1; then json() { python3 -m json.tool; }; else json() { jq .; }; fi
if echo '{}' | json >/dev/null 2>&1; then
    valid() {
        "$ferry" "$@" --json >json.txt 2>err.txt
        holds "ferry $* --json is JSON" json <json.txt
    }
    valid info blocks.onnx
    valid info "$cnn"
    valid info blocks.onnx --shapes
    valid check blocks.onnx
    valid ops
    valid doctor
    valid selftest kernels --kernel neg
    valid selftest kernels --bench --kernel pool --isa generic
    valid explain SHAPE
    valid export "$cnn" -o j.onnx
    valid optimize bn.onnx -o j2.onnx
    valid verify blocks.onnx --against "$blocks"
    valid verify blocks.onnx --against "$blocks" --tolerance 0
    valid run blocks.onnx --random
    valid convert blocks.onnx -o j13.onnx --opset 13
    valid convert l24.onnx -o j13.onnx --opset 13 --tolerance 0
    valid bench speed.onnx --seconds 0
    valid bench speed.onnx --seconds 0 --against speed.json
    valid profile speed.onnx --seconds 0
    valid explain speed.onnx --node 0
    holds 'the trace is JSON' json <trace.json
    holds 'what --save wrote is JSON' json <speed.json
else echo "skipped: validity of --json (neither python3 nor jq)"; fi

holds 'no temporary file is left anywhere' not compgen -G '*.tmp-*'
echo "cli: $ran checks, $failed failures"
[ $failed -eq 0 ]
