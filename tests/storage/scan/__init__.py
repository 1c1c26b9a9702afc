"""Tests of the scan: real files of each format, cut, hostile and honest."""
