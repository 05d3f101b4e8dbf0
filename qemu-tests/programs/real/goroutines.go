// Goroutines, channels, a select with timers, garbage, a file.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

func hot(seed uint64, turns int) uint64 {
	for turn := 0; turn < turns; turn++ {
		seed = seed*6364136223846793005 + 1442695040888963407
	}
	return seed
}

func garbage(turns int) int {
	kept := map[int][]byte{}
	for turn := 0; turn < turns; turn++ {
		kept[turn*31%4001] = make([]byte, 64+turn%300)
	}
	sum := 0
	for _, bytes := range kept {
		sum += len(bytes)
	}
	return sum
}

func main() {
	scale, err := strconv.Atoi(os.Getenv("SCALE"))
	if err != nil {
		panic(err)
	}
	results := make(chan uint64, 4)
	var all sync.WaitGroup
	for number := 0; number < 40; number++ {
		all.Add(1)
		go func(seed uint64) {
			defer all.Done()
			results <- hot(seed, 3000000*scale)
		}(uint64(number))
	}
	go func() { all.Wait(); close(results) }()
	var collected []uint64
	ticks := 0
	for timer, open := time.NewTicker(2*time.Millisecond), true; open; {
		select {
		case result, more := <-results:
			if open = more; more {
				collected = append(collected, result)
			}
		case <-timer.C:
			ticks++
		}
	}
	sort.Slice(collected, func(a, b int) bool { return collected[a] < collected[b] })
	text := fmt.Sprintln(collected)
	fmt.Printf("%d results, %x, ticked %v\n", len(collected), sha256.Sum256([]byte(text)), ticks > 0)
	fmt.Println("garbage", garbage(150000*scale))
	if err := os.WriteFile("results.txt", []byte(text), 0o644); err != nil {
		panic(err)
	}
	read, err := os.ReadFile("results.txt")
	fmt.Println(len(read), err)
}
