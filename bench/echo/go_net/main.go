// A server that sends back what it reads, by a goroutine for each connection; echo/weft_echo.cpp is its twin. Builds without a
// module:
//
//	go build -o echo_go main.go && GOMAXPROCS=2 ./echo_go 8080
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, "echo_go:", err)
	os.Exit(1)
}

// echo goes on until the peer has closed, or is gone.
func echo(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 1024)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: echo_go <port> | --version"))
	}
	if os.Args[1] == "--version" {
		fmt.Println(runtime.Version(), "net", runtime.GOOS+"/"+runtime.GOARCH)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fail(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go echo(conn)
	}
}
