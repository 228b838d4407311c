// SPDX-License-Identifier: BSD-3-Clause

// The ledger as an unmodified public client of transparency logs sees it: golang.org/x/mod/sumdb/tlog and note do
// all that is verified here. verify DIR VKEY [CHECKPOINT...]: DIR holds checkpoint and tile/ as they were served,
// CHECKPOINT are earlier ones that the ledger must continue.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func die(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func must(err error, what string) {
	if err != nil {
		die("%s: %v", what, err)
	}
}

// tlog names tiles by their height too, tlog-tiles does not.
type folder string

func (f folder) Height() int { return height }

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		path := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func open(path string, verifier note.Verifier) tlog.Tree {
	text, err := os.ReadFile(path)
	must(err, path)
	n, err := note.Open(text, note.VerifierList(verifier))
	must(err, path)
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		die("%s: not a checkpoint of %s", path, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err, path)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err, path)
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree
}

// The bundle's entries.
func entries(dir string, index, width int64) [][]byte {
	tile := tlog.Tile{H: height, L: -1, N: index, W: int(width)}
	path := filepath.Join(dir, strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1))
	data, err := os.ReadFile(path)
	must(err, path)
	var list [][]byte
	for len(data) >= 2 {
		n := int(binary.BigEndian.Uint16(data))
		if len(data) < 2+n {
			die("%s: an entry is cut", path)
		}
		list = append(list, data[2:2+n])
		data = data[2+n:]
	}
	if len(data) != 0 || int64(len(list)) != width {
		die("%s: %d entries instead of %d", path, len(list), width)
	}
	return list
}

func main() {
	if len(os.Args) < 3 {
		die("verify DIR VKEY [CHECKPOINT...]")
	}
	dir := os.Args[1]
	vkey, err := os.ReadFile(os.Args[2])
	must(err, "key")
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	must(err, "key")
	tree := open(filepath.Join(dir, "checkpoint"), verifier)
	reader := tlog.TileHashReader(tree, folder(dir))
	index := int64(0)
	for index < tree.N {
		width := tree.N - index
		if width > 256 {
			width = 256
		}
		for _, entry := range entries(dir, index/256, width) {
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			must(err, "inclusion")
			must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)),
				fmt.Sprintf("record %d", index))
			index++
		}
	}
	for _, path := range os.Args[3:] {
		older := open(path, verifier)
		proof, err := tlog.ProveTree(tree.N, older.N, reader)
		must(err, "consistency")
		must(tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash), path)
	}
	fmt.Printf("%d records, %d earlier checkpoints, root %x\n", tree.N, len(os.Args)-3, sha256.Sum256(tree.Hash[:]))
}
