// What net/http needs to answer with a JSON that is made for each request. Builds without a module:
//
//	go build -o http_go main.go && GOMAXPROCS=2 ./http_go 8080
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
)

type reply struct {
	Message string `json:"message"`
	ID      int    `json:"id"`
	New     bool   `json:"new"`
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "http_go:", err)
	os.Exit(1)
}

func handle(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	body, err := json.Marshal(reply{Message: "Hello, World!", ID: 42, New: true})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: http_go <port> | --version"))
	}
	if os.Args[1] == "--version" {
		fmt.Println(runtime.Version(), "net/http", runtime.GOOS+"/"+runtime.GOARCH)
		return
	}
	http.HandleFunc("/json", handle)
	fail(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
