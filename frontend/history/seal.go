package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

const (
	maxBlockEntries = 32 // of a file that is sealed: enough to compress well, and soon decompressed
	sealBatch       = 256
)

// sealRest has all files rewritten that are written to no longer, beside what goes on. One
// goroutine does it at a time: what has been begun before is waited for.
func (s *store) sealRest() {
	s.sealing.Wait()
	s.mu.RLock()
	rest := slices.DeleteFunc(slices.Clone(s.files), func(f *file) bool { return f.sealed || f == s.live })
	s.mu.RUnlock()
	if len(rest) == 0 {
		return
	}
	s.sealing.Go(func() {
		for _, f := range rest {
			if err := s.sealOne(f); err != nil {
				s.log.WithError(err).Warnf("History: %s could not be compressed, and stays as it is", filepath.Base(f.path))
			}
		}
	})
}

func (s *store) sealOne(f *file) error {
	if err := f.whole(); err != nil {
		return err
	}
	tmp := f.path + unsealed
	skipped, err := f.seal(tmp, s.coder)
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	s.sayLost(f, skipped)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.files, f) { // it was too old meanwhile
		return os.Remove(tmp)
	}
	s.files = slices.DeleteFunc(s.files, func(other *file) bool { return other == f })
	err = f.close()
	if err == nil && skipped > 0 { // another time, the disk may give what it has not given now
		err = s.setAside(f.path)
	}
	if err == nil {
		err = os.Rename(tmp, f.path)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	err = errors.Join(err, s.add(f.path)) // as it was, where it could not be exchanged
	s.order()
	return err
}

func (s *store) sayLost(f *file, skipped int) {
	if skipped > 0 {
		s.log.Warnf("History: %d parts of %s are damaged and left out", skipped, filepath.Base(f.path))
	}
}

// seal writes all that is in f into a new file at path, compressed, and leaves f as it is. What
// cannot be read is left out, and counted in skipped: it is also how a damaged file is saved.
func (f *file) seal(path string, c *coder) (skipped int, err error) {
	_ = os.Remove(path)
	to, err := openBolt(path, bolt.Options{NoSync: true})
	if err != nil {
		return 0, err
	}
	err = guarded(func() error { // not view: a file that was cut off has something, too
		return f.db.View(func(tx *bolt.Tx) error { return copySealed(to, tx, c, &skipped) })
	})
	if errors.Is(err, errDamaged) { // what was copied before it is something
		skipped++
		err = nil
	}
	if err == nil {
		err = to.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists(bucketSealed)
			return err
		})
	}
	if err == nil {
		err = to.Sync()
	}
	return skipped, errors.Join(err, to.Close())
}

func copySealed(to *bolt.DB, from *bolt.Tx, c *coder, skipped *int) error {
	out, err := to.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = out.Rollback() }() // nothing, after a commit
	for _, name := range [][]byte{bucketRuns, bucketSubjects} {
		b, err := out.CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		if err := from.Bucket(name).ForEach(b.Put); err != nil {
			return err
		}
	}
	if _, err := out.CreateBucketIfNotExists(bucketEntries); err != nil {
		return err
	}
	if err := out.Commit(); err != nil { // what follows may meet damage
		return err
	}
	all, err := subjects(from, func(Subject) bool { return true })
	if err != nil {
		return err
	}
	w := sealing{to: to, coder: c}
	for _, number := range slices.Sorted(maps.Keys(all)) {
		// What cannot be read of one is no reason to lose the others.
		err := guarded(func() error { return w.subject(from, number, all[number], skipped) })
		if errors.Is(err, errDamaged) {
			*skipped++
		} else if err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.commit()
}

// subject copies all of one subject.
func (w *sealing) subject(from *bolt.Tx, number uint32, s Subject, skipped *int) error {
	for b := range blocks(from, map[uint32]Subject{number: s}, skipped) {
		data, err := w.coder.data(b.value, len(b.heads))
		if err != nil {
			*skipped++
			continue
		}
		if err := w.add(number, b.heads, data); err != nil {
			return err
		}
	}
	return nil
}

// sealing gathers entries of one subject into blocks, and blocks into transactions.
type sealing struct {
	to     *bolt.DB
	coder  *coder
	number uint32
	heads  []head
	data   [][]byte
	keys   [][]byte
	values [][]byte
}

func (w *sealing) add(number uint32, heads []head, data [][]byte) error {
	if number != w.number || len(w.heads) >= maxBlockEntries {
		if err := w.flush(); err != nil {
			return err
		}
		w.number = number
	}
	w.heads = append(w.heads, heads...)
	w.data = append(w.data, data...)
	return nil
}

func (w *sealing) flush() error {
	if len(w.heads) > 0 {
		w.keys = append(w.keys, entryKey(binary.BigEndian.AppendUint32(nil, w.number), w.heads[0].at))
		w.values = append(w.values, w.coder.encode(w.heads, w.data))
		w.heads, w.data = nil, nil
	}
	if len(w.keys) >= sealBatch {
		return w.commit()
	}
	return nil
}

func (w *sealing) commit() error {
	err := w.to.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketEntries)
		b.FillPercent = 0.95 // they come in order
		for i, k := range w.keys {
			if err := b.Put(k, w.values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	w.keys, w.values = nil, nil
	return err
}

// rescue keeps what can be read of a damaged file, and the file itself beside it. Where it is the
// disk that fails, or is full, its error says so, and the file is left as it is.
func (s *store) rescue(f *file, cause error) error {
	name, tmp := filepath.Base(f.path), f.path+unsealed
	skipped := 0
	err := guarded(func() (err error) {
		if f.db != nil {
			_ = f.db.Close()
		}
		if f.db, err = openBolt(f.path, bolt.Options{ReadOnly: true}); err != nil {
			return err
		}
		skipped, err = f.seal(tmp, s.coder)
		return errors.Join(err, f.db.Close())
	})
	if err != nil {
		_ = os.Remove(tmp)
		if err := s.disk(tmp, err); err != nil {
			return fmt.Errorf("save damaged %s: %w", name, err)
		}
	}
	if err := s.setAside(f.path); err != nil {
		return fmt.Errorf("set damaged %s aside: %w", name, err)
	}
	if err == nil {
		err = os.Rename(tmp, f.path)
	}
	var saved *file
	if err == nil {
		saved, err = openFile(f.path)
	}
	if err != nil || len(saved.runs) == 0 {
		if err == nil {
			_ = saved.close()
		}
		_ = os.Remove(tmp)
		_ = os.Remove(f.path)
		s.log.WithError(cause).Warnf("History: %s is damaged, and nothing of it can be read: what happened from then to the next file is lost; it stands as %s", name, name+damaged)
		return nil
	}
	s.files = append(s.files, saved)
	s.log.WithError(cause).Warnf("History: %s is damaged: what can be read is kept, up to %s, without %d parts; the file as it was stands as %s", name, stamp(saved.until()), skipped, name+damaged)
	return nil
}

// setAside keeps a damaged file beside the others, as it is, and removes those that earlier
// processes have kept. All of them take as much as the history may, at most.
func (s *store) setAside(path string) error {
	if err := os.Rename(path, path+damaged); err != nil {
		return err
	}
	*s.aside = append(*s.aside, path+damaged)
	old, _ := filepath.Glob(filepath.Join(s.dir, "*Z"+suffix+damaged)) // the pattern is right
	for _, path := range old {
		if !slices.Contains(*s.aside, path) {
			_ = os.Remove(path)
		}
	}
	total := int64(0)
	for n, path := range slices.Backward(*s.aside) {
		if info, err := os.Lstat(path); err == nil {
			total += info.Size()
		}
		if total > s.maxBytes && n < len(*s.aside)-1 {
			_ = os.Remove(path)
		}
	}
	return nil
}

// disk says what is wrong with the disk where a file on it cannot be used: that it is full, or what
// comes of a try at another file, which path is for.
func (s *store) disk(path string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return s.try(path)
}

// tryDisk writes a file, waits until the disk has it, and removes it.
func tryDisk(path string) error {
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = to.Write(make([]byte, 4096))
	return errors.Join(err, to.Sync(), to.Close(), os.Remove(path))
}

// abandon saves the newest file, which has turned out to be damaged. The next run begins another.
func (s *store) abandon(cause error) error {
	s.sealing.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.live
	s.live = nil
	s.files = slices.DeleteFunc(s.files, func(other *file) bool { return other == f })
	err := s.rescue(f, cause)
	if err != nil { // the file is as it was: what can be read of it stays in answers, until it is compressed
		_ = s.add(f.path) // whose error would be the same
	}
	s.order()
	return err
}
