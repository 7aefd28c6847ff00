package spool

// What the tests of the kept output need to know of its pieces, in bytes.
const (
	SegmentSize = segmentSize
	Chunk       = chunk
)
